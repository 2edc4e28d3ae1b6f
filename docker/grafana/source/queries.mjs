// Pieces of PromQL that several panels share.

/** Increase per second, added up over all replicas. */
export function rate(selector, ...by) {
  return sum(`rate(${selector}[$__rate_interval])`, by)
}

/** Increase in the selected time range. */
export function increase(selector, ...by) {
  return sum(`increase(${selector}[$__range])`, by)
}

/** The same rate, without series that did not increase in the selected time range. */
export function happened(selector, ...by) {
  return `${rate(selector, ...by)} and ${sum(`increase(${selector}[$__range] @ end())`, by)} > 0`
}

/** Returns 0 instead of no data while a gateway is up. Absent without a gateway. */
export function zeroWhereUp(expr) {
  return `${expr} or 0 * sum(segmind_gateway_store_up)`
}

/** Returns a share. Absent while the whole is 0. */
export function share(part, whole) {
  return `${part} / (${whole} > 0)`
}

/** Returns a quantile. Absent without measurements: the comparison removes NaN. */
export function quantile(q, selector, ...by) {
  return `histogram_quantile(${q}, ${rate(selector, 'le', ...by)}) >= 0`
}

/** Returns the value of each gateway. */
export function perReplica(expr) {
  return `max by (instance) (${expr})`
}

/** The same for metrics that every process exposes: only gateways. */
export function perProcess(expr) {
  return perReplica(`${expr} and on (job, instance) segmind_gateway_store_up`)
}

function sum(expr, by) {
  return by.length === 0 ? `sum(${expr})` : `sum by (${by.join(', ')}) (${expr})`
}
