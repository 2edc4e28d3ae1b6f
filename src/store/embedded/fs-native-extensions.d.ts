/** The part of the package that the gateway uses. */
declare module 'fs-native-extensions' {
  interface Locks {
    /** Locks bytes of an open file. Returns false if another open file has locked one of them. */
    tryLock(fd: number, offset: number, length: number, options?: { shared?: boolean }): boolean
    unlock(fd: number, offset: number, length: number): void
  }
  const locks: Locks
  export default locks
}
