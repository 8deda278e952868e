return { handler = print }
