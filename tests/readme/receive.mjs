import { createServer } from "node:http";
const expected = "Basic " + Buffer.from("hook:secret").toString("base64");

createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  const known = request.headers.authorization === expected;
  response.writeHead(known ? 200 : 401, { "Content-Type": "application/json" }).end("{}");
  if (known) console.log(JSON.parse(body).trigger);
}).listen(process.env.PORT ?? 9000, "127.0.0.1");
