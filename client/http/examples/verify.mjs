// Whose is the API key on standard input, and may it do charges.create? The argument is fob-http's address.
//
// Exit status: 0 it may; 1 it may not; 2 Fob could not say. Let a request through on 0 only; answer 503 on 2, not 401.
import { readFileSync } from "node:fs";

// What Fob says of a key. An exception: nothing is known of it. Only the verdict VALID allows.
async function verify(secret, operation, url = "http://127.0.0.1:8480") {
  const reply = await fetch(`${url}/v1/verify`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ secret, operation }),
    redirect: "error",
    signal: AbortSignal.timeout(2000),
  });
  if (reply.status !== 200) throw new Error(`${reply.status} ${reply.statusText}`);
  const said = await reply.json();
  if (typeof said.verdict !== "string") throw new Error("the answer has no verdict");
  return said;
}

try {
  const said = await verify(readFileSync(0, "utf8").trim(), "charges.create", process.argv[2]);
  const allowed = said.verdict === "VALID";
  console.log(allowed ? said.account : `${said.verdict}: ${said.detail}`);
  process.exitCode = allowed ? 0 : 1;
} catch (fault) {
  console.error(`Fob could not say: ${fault.cause ?? fault}`);
  process.exitCode = 2;
}
