// Written by docs/client-types.mjs from the schemas of openapi.yaml: change them there.

/** What went wrong (RFC 9457). */
export interface Problem {
  /** Where the code is explained. */
  type: string
  /** What the code means. */
  title: string
  status: number
  /** What went wrong this time, for people. */
  detail: string
  code: ErrorCode
  /** The same as `X-Request-Id`. */
  requestId: string
  /** Whether the same request may succeed later. */
  retryable: boolean
  /** Whether credits were spent. `unknown` where an answer of Segmind never arrived or is still awaited. */
  billed: 'no' | 'yes' | 'unknown'
  /** The same as `detail`, for clients made for Segmind. */
  error: string
}

/** What is not known is left out. */
export interface Quote {
  resultId: string
  imageId: string
  /** `hit`: there is an answer. `coalesced`: an identical request is buying it. `stale`: there is one past its time, and no other can be had now. `miss`, `bypass`: it would be bought, or refused. */
  wouldBe: 'hit' | 'coalesced' | 'stale' | 'miss' | 'bypass'
  /** What would be charged; an estimate where it would be bought. */
  costCredits: number
  /** Whether it would be answered. */
  allowed: boolean
  /** What it would be refused with. */
  refusal?: {
    code: ErrorCode
    detail: string
    retryAfterSeconds?: number
  }
  /** What this key may still spend. */
  remainingCredits?: number
  queue: {
    /** Purchases that wait for their turn at Segmind. */
    depth: number
    /** How long one that came now would wait, by the last ones. */
    waitSeconds?: number
  }
  /** Of the shared account. */
  creditState?: 'normal' | 'reserve' | 'empty'
}

export interface Running {
  status: 'running'
  /** The same as `X-Result-Id`. */
  resultId: string
}

export interface Usage {
  team: string
  month: string
  /** The team's limits in credits. Left out where it has none. */
  budget?: {
    daily?: number
    monthly?: number
  }
  /** As `X-Remaining-Credits`. Left out while it is not known. */
  remainingCredits?: number
  policy: Policy
  /** When the month was closed; its figures are those of that moment. Left out while it is open. */
  closed?: {
    at: string
  }
  /** What has been booked to a closed month since, as a difference of `billedCredits`. Left out while it is open. */
  sinceClosed?: {
    credits: number
  }
  totals: Statement
  days: StatementDays
}

export interface HeldImage {
  /** Its id. */
  image: string
  /** Pixels, as stored. */
  width: number
  height: number
  type: 'image/jpeg' | 'image/png' | 'image/webp'
  bytes: number
  expires: string
}

/** One selection, answered. With status 200 it has an `image` or an `rle`, else a `problem`. */
export interface BatchItem {
  /** Its place in the request, from 0. */
  index: number
  id?: string
  requestId: string
  status: number
  cache?: 'hit' | 'miss' | 'coalesced' | 'stale' | 'bypass'
  /** Charged for it. */
  costCredits: number
  resultId?: string
  contentType?: string
  mask?: MaskFacts
  /** In base64. */
  image?: string
  rle?: Rle
  problem?: Problem
}

/** A mask in COCO's run-length encoding, as pycocotools reads it. */
export interface Rle {
  /** `[height, width]` */
  size: [number, number]
  counts: string
  bbox: Bbox
  area: number
}

/** Decide by this. */
export type ErrorCode =
  | 'invalid_request'
  | 'missing_image'
  | 'missing_selection'
  | 'invalid_parameter'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'unknown_image'
  | 'unknown_result'
  | 'method_not_allowed'
  | 'upload_timeout'
  | 'image_too_large'
  | 'unsupported_content_type'
  | 'unsupported_image'
  | 'image_unreadable'
  | 'image_too_many_pixels'
  | 'image_url_refused'
  | 'image_url_failed'
  | 'idempotency_key_reused'
  | 'upstream_rejected'
  | 'rate_limited'
  | 'budget_exhausted'
  | 'internal_error'
  | 'upstream_failed'
  | 'upstream_unauthorized'
  | 'credits_exhausted'
  | 'credits_reserved'
  | 'overloaded'
  | 'upstream_unavailable'
  | 'upstream_busy'
  | 'store_unavailable'
  | 'shutting_down'
  | 'upstream_slow'
  | 'upstream_timeout'
  | 'not_cached'

/** Who bears an answer that several teams use (`CHARGEBACK`). `first-payer`: who bought it. `split`: all of them in equal parts. */
export type Policy = 'first-payer' | 'split'

/** What was answered, and its money in credits. */
export interface Statement {
  /** Requests that were answered with a picture. */
  requests: number
  /** Purchases that were answered and paid. */
  paidCalls: number
  /** Answers from the cache. */
  hits: number
  /** Answers shared with an identical request at the same time. */
  coalesced: number
  /** Purchases whose answer never came; they may have been billed, and are booked as if they were. */
  unknownCalls: number
  /** Purchases under way. */
  pendingCalls: number
  /** Paid. */
  chargedCredits: number
  /** Booked for purchases whose answer never came. */
  unknownCredits: number
  /** Held for purchases under way. */
  pendingCredits: number
  /** What the hits would have cost. */
  savedByCacheCredits: number
  /** What the shared answers would have cost. */
  savedByCoalescingCredits: number
  /** Parts of answers that other teams bought and this one uses (above 0), less parts of its own that others use (below 0). Adds up to 0 over all teams. It is counted under either policy and billed under `split`. */
  sharedCredits: number
  /** What is to be paid: charged and unknown credits, under `split` with the shared ones. Below 0 where more is owed to the team than it spent. */
  billedCredits: number
}

export type StatementDays = (Statement & {
  day: string
})[]

/** Where a selection is, in pixels of the mask. */
export interface MaskFacts {
  bbox: Bbox
  area: number
}

/** `[x, y, width, height]` */
export type Bbox = [number, number, number, number]
