/**
 * Returns the current time in milliseconds since 1970, or of whichever epoch the owner documents.
 */
export type Clock = () => number
