import { type Form, secretly } from './forms.js'
import type { Secret } from './secret.js'

/** A setting: environment variable, accepted form, default as text, and description. */
export interface Setting<T> {
  name: string
  form: Form<T>
  default: string | undefined
  /** True when the value can also come from the file that `NAME_FILE` names. */
  secret: boolean
  description: string
}

/** Describes a setting with a default, given as text. */
export function setting<T>(name: string, form: Form<T>, written: string, description: string): Setting<T> {
  return { name, form, default: written, secret: false, description }
}

/** Describes a setting without a default. */
export function optional<T>(name: string, form: Form<T>, description: string): Setting<T | undefined> {
  return { name, form, default: undefined, secret: false, description }
}

/** Describes a secret, whose value is wrapped. */
export function secret(name: string, form: Form<string>, description: string): Setting<Secret | undefined> {
  return { name, form: secretly(form), default: undefined, secret: true, description }
}
