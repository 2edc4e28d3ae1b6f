/** A value that is usually known at once. To await it would cost a promise and a turn of the microtasks. */
export type MaybePromise<T> = T | Promise<T>

/** Continues with a value: at once where it is known. */
export function andThen<T, R>(value: MaybePromise<T>, next: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return value instanceof Promise ? value.then(next) : next(value)
}
