import { timingSafeEqual } from 'node:crypto'
import { hashApiKey } from './api-key.js'

/** Tells the operators' key (`ADMIN_KEY`) from any other text, in constant time. Without one nothing is it. */
export function createOperatorCheck(adminKey: string | undefined): (text: string | undefined) => boolean {
  const digest = adminKey === undefined ? undefined : hashApiKey(adminKey)
  return (text = '') => digest !== undefined && timingSafeEqual(hashApiKey(text), digest)
}
