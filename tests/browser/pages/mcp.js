// What both host pages share: the official client on a server's URL, and a record of what happened.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

export const UI = "io.modelcontextprotocol/ui";
export const MIME_TYPE = "text/html;profile=mcp-app";

/** A connected client. `era`: "legacy" (with handshake), "auto", or a revision such as "2026-07-28". */
export const connect = async (url, { headers = {}, era = "legacy" } = {}) => {
  const client = new Client(
    { name: "backstay-test-host", version: "1.0.0" },
    {
      capabilities: { extensions: { [UI]: { mimeTypes: [MIME_TYPE] } } },
      versionNegotiation: { mode: ["legacy", "auto"].includes(era) ? era : { pin: era } },
    },
  );
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
  await client.connect(transport);
  return client;
};

/** The page of a widget and what its metadata says, where hosts look: the item that was read. */
export const readPage = async (client, uri) => {
  const { contents } = await client.readResource({ uri });
  if (contents.length !== 1) throw new Error(`${uri} has ${contents.length} contents, not one`);
  const [item] = contents;
  const html = item.text ?? new TextDecoder().decode(Uint8Array.from(atob(item.blob), (c) => c.charCodeAt(0)));
  return { html, mimeType: item.mimeType, meta: item._meta ?? {} };
};

/** What happened, in order, and a way to wait for what has not happened yet. */
export class Record {
  events = [];
  #waiting = new Set();

  add(kind, detail = {}) {
    this.events.push({ kind, ...JSON.parse(JSON.stringify(detail)) });
    for (const look of this.#waiting) look();
  }

  /** Resolves with the `count`-th event of a kind. Whoever asks has a time limit of their own. */
  seen(kind, count = 1) {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.events.filter((each) => each.kind === kind);
        if (found.length < count) return;
        this.#waiting.delete(look);
        resolve(found[count - 1]);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** The policy of a page, deny-by-default, from its declared domains (MCP Apps 2026-01-26, "CSP"). */
export const policy = (csp = {}) => {
  const list = (domains, otherwise) => (domains?.length ? domains.join(" ") : otherwise);
  const from = list(csp.resourceDomains, "");
  return [
    "default-src 'none'",
    `script-src 'self' 'unsafe-inline' ${from}`,
    `style-src 'self' 'unsafe-inline' ${from}`,
    `img-src 'self' data: ${from}`,
    `font-src 'self' data: ${from}`,
    `media-src 'self' data: ${from}`,
    `connect-src ${list(csp.connectDomains, "'none'")}`,
    `frame-src ${list(csp.frameDomains, "'none'")}`,
    `base-uri ${list(csp.baseUriDomains, "'none'")}`,
    "object-src 'none'",
  ].join("; ");
};
