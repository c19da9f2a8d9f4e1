// Ratings of products: GET /ratings/<product>. Nothing but node's own library; knows nothing of a mesh.
// usage: node ratings.js PORT
const http = require("node:http");

const port = Number(process.argv[2]);

const server = http.createServer((request, response) => {
  const product = request.url.replace(/^\/ratings\//, "");
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ stars: 1 + (product.length % 5) }));
});

server.keepAliveTimeout = 60_000;
server.listen(port, "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
