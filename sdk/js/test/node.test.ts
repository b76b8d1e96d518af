import { Session } from "@carillon-push/client";
import { WebSocket } from "ws";
import { Client, type Wish } from "./client.js";
import { scenarios } from "./scenarios.js";

scenarios({ open: async (wish: Wish) => new Client(Session, WebSocket, wish) });
