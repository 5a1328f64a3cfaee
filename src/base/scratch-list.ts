/**
 * Lists of a few items that are filled and emptied all the time. Setting the length of an array to 0
 * gives its memory back, so that the next push allocates again; taking out the last element does not.
 */

/** An empty list with room for a few numbers. */
export function scratchList(): number[] {
  const list = [0, 0, 0, 0];
  clearList(list);
  return list;
}

/** An empty list with room for a few objects. */
export function scratchListOf<T>(): T[] {
  const list = [null, null, null, null, null, null, null, null] as unknown as T[];
  clearList(list);
  return list;
}

export function clearList(list: unknown[]): void {
  while (list.length > 0) list.pop();
}
