// The push service of web-push-testing, which decrypts what it is sent. It prints its address and serves until its input ends.
import http from "node:http";
import PushApi from "web-push-testing/src/PushApiModel.js";
import Service from "web-push-testing/src/server.js";

const service = new Service(new PushApi.PushApiModel(), 0);
service.setRequestHandlers();
// Its own start would listen on all interfaces.
const server = http.createServer(service._app).listen(0, "127.0.0.1", () => {
	console.log(`http://127.0.0.1:${server.address().port}`);
});
process.stdin.on("end", () => process.exit()).resume();
