// Echoes every message, in the form it came. With /talk it says 500 numbered messages of its own meanwhile; with /bye it
// closes after the first message. Prints its port, then what it saw of each connection.
import { WebSocketServer } from "ws";

const PROTOCOL = "mpy-gateway.v1";
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  handleProtocols: (offered) => (offered.has(PROTOCOL) ? PROTOCOL : false),
});
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  let received = 0;
  socket.on("message", (data, isBinary) => {
    received += 1;
    socket.send(data, { binary: isBinary });
    if (request.url === "/bye") socket.close(4321, "bye");
  });
  socket.on("close", (code, reason) => console.log(JSON.stringify({ received, code, reason: reason.toString() })));
  if (request.url === "/talk") {
    for (let i = 0; i < 500; i++) setTimeout(() => socket.send(`own ${i}`), i);
    socket.ping("are you there");
  }
});
