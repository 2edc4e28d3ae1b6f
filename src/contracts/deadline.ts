/**
 * Settles as `work` does, or as `onDeadline` does once `ms` milliseconds have passed, whichever
 * comes first. `work` is not cancelled. The timer is always cleared.
 */
export async function withDeadline<T, D = never>(
  work: Promise<T>,
  ms: number,
  onDeadline: () => D | Promise<D>,
): Promise<T | D> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<'deadline'>(resolve => {
    timer = setTimeout(resolve, Math.max(0, ms), 'deadline')
  })
  try {
    const first = await Promise.race([work.then(value => ({ value })), deadline])
    return first === 'deadline' ? await onDeadline() : first.value
  } finally {
    clearTimeout(timer)
  }
}
