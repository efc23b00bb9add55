// Loaded before a program of ours (node --import): it ends when its parent does, however that ends,
// because the pipe that its standard input is then closes.
process.stdin.on("end", () => process.exit(0));
process.stdin.on("error", () => process.exit(0));
process.stdin.resume();
process.stdin.unref?.();
