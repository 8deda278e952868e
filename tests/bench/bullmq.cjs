// BullMQ on a Redis beside it (appendfsync always: class F), the best peer measured: W1, W2 and W4.
//   node bullmq.cjs REDIS_PORT RUNS   -> one JSON object a line: workload, value, unit
const { Queue, Worker, FlowProducer } = require("bullmq");

const connection = { host: "127.0.0.1", port: Number(process.argv[2]), maxRetriesPerRequest: null };
const runs = Number(process.argv[3] || 5);
let serial = 0;
const now = () => Number(process.hrtime.bigint()) / 1e9;
const print = (workload, value, unit) => console.log(JSON.stringify({ workload, value, unit }));
const fibo = (n) => (n <= 1 ? n : fibo(n - 1) + fibo(n - 2));

// Runs body(queueName) with a worker that ends when `isLast(job)`; returns seconds from the submission on.
async function timed(concurrency, work, isLast, submit) {
  const name = `q${process.pid}-${serial++}`;
  const queue = new Queue(name, { connection });
  let finish;
  const all = new Promise((resolve) => (finish = resolve));
  const worker = new Worker(name, work, { connection, concurrency });
  worker.on("completed", (job) => { if (isLast(job)) finish(); });
  await worker.waitUntilReady();
  await queue.waitUntilReady();
  const start = now();
  await submit(name, queue);
  await all;
  const seconds = now() - start;
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
  return seconds;
}

async function w1(n) {
  let done = 0;
  return timed(100, async () => {}, () => ++done === n, async (name, queue) => {
    let i = 0; // add() with 50 in flight is its fastest way under appendfsync always
    await Promise.all(Array.from({ length: 50 }, async () => { while (i++ < n) await queue.add("j", {}); }));
  });
}
async function w2(n) {
  const flow = new FlowProducer({ connection });
  const seconds = await timed(100, async () => {}, (job) => job.name === "parent", (name) =>
    flow.add({ name: "parent", queueName: name, children: Array.from({ length: n }, () => ({ name: "c", queueName: name, data: {} })) }));
  await flow.close();
  return seconds;
}
async function w4() {
  const flow = new FlowProducer({ connection });
  const seconds = await timed(4, async () => fibo(10), (job) => job.name === "s39", (name) => {
    let node;
    for (let i = 0; i < 40; i++) node = { name: `s${i}`, queueName: name, data: {}, ...(node ? { children: [node] } : {}) };
    return flow.add(node);
  });
  await flow.close();
  return seconds;
}

(async () => {
  await w1(2000); // warm
  for (let i = 0; i < runs; i++) {
    print("W1", 10000 / (await w1(10000)), "runs/s");
    print("W2", 10001 / (await w2(10000)), "tasks/s");
    print("W4", 1000 * (await w4()), "ms");
  }
  process.exit(0);
})();
