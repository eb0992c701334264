// The Node.js peer: node:cluster with a primary and its workers, as the clustering tutorials have it.
// node node_cluster.js PORT WORKERS [sync]      sync: read the file without the thread pool
// Under PM2 in cluster mode, which is the primary itself, WORKERS is 0, and the variable PEER has the arguments.
'use strict';

const cluster = require('node:cluster');
const fs = require('node:fs');
const { readFile } = require('node:fs/promises');
const http = require('node:http');
const path = require('node:path');

const given = process.env.PEER ? process.env.PEER.split(' ') : process.argv.slice(2);
const port = Number(given[0]);
const workers = Number(given[1]);
const sync = given[2] === 'sync';
const hello = Buffer.from('Hello, world!');
const content = path.join(__dirname, '..', '..', 'examples', 'content.txt');

function answer(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': body.length });
  response.end(body);
}

function readContent(response) {
  if (sync) {
    answer(response, 200, fs.readFileSync(content));
    return;
  }
  readFile(content).then(
    (body) => answer(response, 200, body),
    (error) => answer(response, 500, Buffer.from(error.code)),
  );
}

if (workers > 0 && cluster.isPrimary) {
  for (let started = 0; started < workers; started += 1) cluster.fork();
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
    process.exit(0);
  });
} else {
  http
    .createServer((request, response) => {
      if (request.url === '/') answer(response, 200, hello);
      else if (request.url === '/read-content') readContent(response);
      else answer(response, 404, Buffer.from('Not Found\n'));
    })
    .listen(port, '127.0.0.1');
}
