import { anyText, type Form, wholeNumber } from './forms.js'

/** A setting of a later version. Any value other than the default is rejected at start. */
export interface LaterSetting {
  name: string
  form: Form<unknown>
  default: string | undefined
}

export const LATER_SETTINGS: readonly LaterSetting[] = [
  { name: 'REDIS_CLUSTER', form: anyText, default: undefined },
  { name: 'REDIS_SENTINELS', form: anyText, default: undefined },
  { name: 'REDIS_MASTER_NAME', form: anyText, default: undefined },
  { name: 'WORKERS', form: wholeNumber(1, 1e9), default: '1' },
]
