// Sends messages with web-push. Its input is a JSON object {ca, subscription, options, messages: [text, …]}; it prints the
// statuses of the answers as a JSON array.
import https from "node:https";
import { text } from "node:stream/consumers";
import webpush from "web-push";

const { ca, subscription, options, messages } = JSON.parse(await text(process.stdin));
const agent = new https.Agent({ ca });
const statuses = [];
for (const message of messages) {
	const sent = await webpush.sendNotification(subscription, message, { ...options, agent }).catch((err) => err);
	if (!sent.statusCode) throw sent;
	statuses.push(sent.statusCode);
}
console.log(JSON.stringify(statuses));
