// Pieces of PromQL that several panels share.

/** Steps a second, added up over all replicas. */
export function rate(selector, ...by) {
  return sum(`rate(${selector}[$__rate_interval])`, by)
}

/** All steps within the time that is looked at. */
export function increase(selector, ...by) {
  return sum(`increase(${selector}[$__range])`, by)
}

/** Of these only what has happened within the time that is looked at: not a line at 0 for each that never did. */
export function happened(selector, ...by) {
  return `${rate(selector, ...by)} and ${sum(`increase(${selector}[$__range] @ end())`, by)} > 0`
}

/** 0 where a gateway is there and nothing of the kind has happened; absent where no gateway is. */
export function zeroWhereUp(expr) {
  return `${expr} or 0 * sum(segmind_gateway_store_up)`
}

/** A share, absent while there is nothing to have a share of. */
export function share(part, whole) {
  return `${part} / (${whole} > 0)`
}

/** Absent while nothing was measured: that would be no number (NaN), which no comparison lets pass. */
export function quantile(q, selector, ...by) {
  return `histogram_quantile(${q}, ${rate(selector, 'le', ...by)}) >= 0`
}

/** A figure of each gateway by itself. */
export function perReplica(expr) {
  return `max by (instance) (${expr})`
}

/** The same of a figure that every process has (memory): what is not of a gateway is left out. */
export function perProcess(expr) {
  return perReplica(`${expr} and on (job, instance) segmind_gateway_store_up`)
}

function sum(expr, by) {
  return by.length === 0 ? `sum(${expr})` : `sum by (${by.join(', ')}) (${expr})`
}
