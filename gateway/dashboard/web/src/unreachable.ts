/** Takes `never`: where a union gains a member that a switch does not handle, this does not compile. */
export function unreachable(value: never): never {
  throw new Error(`not handled: ${JSON.stringify(value)}`);
}
