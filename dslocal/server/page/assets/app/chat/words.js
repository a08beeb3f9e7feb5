/** Numbers and times as people read them. */

const NUMBER = new Intl.NumberFormat("en");
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/**
 * @param {number} count
 * @returns {string}
 */
export function grouped(count) {
  return NUMBER.format(count);
}

/**
 * @param {number} count
 * @param {string} noun
 * @returns {string} As "1 token", "2 tokens".
 */
export function counted(count, noun) {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * @param {number} seconds
 * @returns {string} As "0.4 s", "12 s", "3 min 5 s".
 */
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/**
 * @param {number} bytes
 * @returns {string} As "17 MiB", "4.5 GiB".
 */
export function byteSize(bytes) {
  if (bytes >= GIB) return `${(bytes / GIB).toFixed(1)} GiB`;
  if (bytes >= MIB) return `${Math.round(bytes / MIB)} MiB`;
  return `${Math.max(1, Math.round(bytes / 1024))} KiB`;
}

/**
 * @param {number} time Unix time in seconds.
 * @param {Date} [now]
 * @returns {string} The heading in the list under which a conversation stands.
 */
export function dayHeading(time, now = new Date()) {
  const then = new Date(time * 1000);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const days = Math.ceil((midnight - then.getTime()) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "Last seven days";
  return then.toLocaleDateString("en", { month: "long", year: "numeric" });
}
