import { timingSafeEqual } from 'node:crypto'
import { hashApiKey } from './api-key.js'

/**
 * Compares a text with the operators' key (`ADMIN_KEY`) in constant time. Without a key every
 * comparison fails.
 */
export function createOperatorCheck(adminKey: string | undefined): (text: string | undefined) => boolean {
  const digest = adminKey === undefined ? undefined : hashApiKey(adminKey)
  return (text = '') => digest !== undefined && timingSafeEqual(hashApiKey(text), digest)
}
