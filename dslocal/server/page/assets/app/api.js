/** Requests to the server, which is the only one that the page ever speaks to. */

import { askForKey } from "./dialogs.js";

const KEY = "dslocal.key";

/** An error that the server has sent, or that it cannot be reached. */
export class ServerError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 where the server cannot be reached.
   * @param {string} code A word for programs.
   */
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** @returns {boolean} Whether the server cannot be reached. */
  get isGone() {
    return this.status === 0;
  }
}

/**
 * @typedef {Object} Message
 * @property {"system" | "user" | "assistant" | "tool"} role
 * @property {string} text
 * @property {string} sent What was sent, where that is more than the text.
 * @property {string} reasoning
 * @property {number} reasoning_s
 * @property {{name: string, arguments: string}[]} calls
 * @property {string} cut
 */

/**
 * @typedef {Object} Figures
 * @property {number} prompt_tokens
 * @property {number} cached_tokens
 * @property {number} completion_tokens
 * @property {number} reasoning_tokens
 * @property {number} tokens_per_s
 * @property {string} loop
 * @property {string} no_answer
 */

/**
 * @typedef {Object} Snapshot An answer as far as it has come.
 * @property {"snapshot" | "end"} type
 * @property {number} first_message How many messages stand before its turn.
 * @property {Message | null} question
 * @property {"loading" | "waiting" | "reading" | "reasoning" | "answering" | "done"} state
 * @property {string} reasoning
 * @property {number} reasoning_s
 * @property {string} text
 * @property {{name: string, arguments: string}[]} calls
 * @property {{done: number, total: number}} prompt
 * @property {number} trimmed_turns
 * @property {string[]} notes
 * @property {{message: string, code: string | null} | null} error
 * @property {Figures | null} [figures]
 */

/**
 * @typedef {{type: "delta", reasoning: string, text: string}} Delta What has been added.
 * @typedef {{type: "progress", prompt: {done: number, total: number}}} Progress
 * @typedef {Snapshot | Delta | Progress} AnswerEvent
 */

/**
 * @typedef {Object} Summary What the list shows of a conversation.
 * @property {string} id
 * @property {string} title
 * @property {string} model
 * @property {number} began
 * @property {number} last
 * @property {number} turns
 * @property {string} match
 */

/**
 * @typedef {Object} ConversationFields
 * @property {string} system
 * @property {string} thinking
 * @property {string} effort
 * @property {Message[]} messages
 * @property {Snapshot | null} answer
 *
 * @typedef {Summary & ConversationFields} Conversation
 */

/**
 * @typedef {Object} ServedModel
 * @property {string} name
 * @property {boolean} is_loaded
 * @property {string} title
 * @property {boolean} is_base
 * @property {string} file
 * @property {number} n_ctx
 * @property {number} n_ctx_train
 * @property {number} slots
 * @property {Record<string, any>} load_config
 * @property {string} destination
 * @property {string} architecture
 * @property {string} thinking
 * @property {string[]} thinking_modes
 * @property {string[]} efforts
 * @property {string} effort
 * @property {string} against_system
 * @property {{name: string, value: any, source: string}[]} settings
 * @property {{part: string, gpu: number, host: number}[]} memory
 *
 * @typedef {Object} ServerState
 * @property {string} version
 * @property {ServedModel[]} models
 * @property {number} running
 * @property {number} waiting
 * @property {number} slots
 * @property {{total: number, available: number, resident: number}} machine
 */

/**
 * Send a request and return the JSON of its response.
 *
 * @param {string} method
 * @param {string} path Below /dslocal/.
 * @param {object} [body]
 * @returns {Promise<any>}
 * @throws {ServerError}
 */
export async function request(method, path, body) {
  const response = await send(method, path, body);
  return response.json();
}

/**
 * Yield the events of an answer, until it has ended or the connection is lost.
 *
 * @param {string} id The conversation.
 * @param {AbortSignal} signal Ends the waiting; the answer goes on.
 * @returns {AsyncGenerator<AnswerEvent>}
 * @throws {ServerError}
 */
export async function* followAnswer(id, signal) {
  const response = await send("GET", `conversations/${id}/answer`, undefined, signal);
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        if (event.startsWith("data: {")) yield JSON.parse(event.slice(6));
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    throw gone(error);
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
async function send(method, path, body, signal) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    /** @type {Record<string, string>} */
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    if (body) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(`/dslocal/${path}`, {
        method,
        headers,
        body: body ? JSON.stringify(body) : undefined,
        signal,
        cache: "no-store",
        credentials: "omit",
      });
    } catch (error) {
      throw gone(error);
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await refusal(response);
    await newKey(key);
  }
}

/** @type {Promise<void> | null} */
let asking = null;

/**
 * Ask for the key, once for all requests that lack it.
 *
 * @param {string | null} tried The key that was refused.
 */
async function newKey(tried) {
  if (sessionStorage.getItem(KEY) !== tried) return;
  asking ??= askForKey(tried !== null).then((key) => {
    asking = null;
    sessionStorage.setItem(KEY, key);
  });
  await asking;
}

/**
 * @param {unknown} error
 * @returns {ServerError}
 */
function gone(error) {
  if (error instanceof ServerError) return error;
  return new ServerError("The server does not answer.", 0, "gone");
}

/**
 * @param {Response} response
 * @returns {Promise<ServerError>}
 */
async function refusal(response) {
  try {
    const { error } = await response.json();
    return new ServerError(error.message, response.status, error.code ?? "");
  } catch {
    return new ServerError(`The server answered with status ${response.status}.`, response.status, "");
  }
}
