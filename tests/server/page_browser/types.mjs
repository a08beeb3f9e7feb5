// Checks the types of the page's scripts. What tsc says of vendored files is left out.
import { spawnSync } from "node:child_process";

const command = ["node_modules/typescript/bin/tsc", "--noEmit", "-p", "."];
const { stdout } = spawnSync(process.execPath, command, { cwd: import.meta.dirname, encoding: "utf8" });
let isOwn = false;
const lines = stdout.split("\n").filter((line) => {
  if (/^\S+\(\d+,\d+\): /.test(line)) isOwn = !line.includes("/vendor/");
  return isOwn && line;
});
console.log(lines.join("\n") || "the types fit");
process.exit(lines.length ? 1 : 0);
