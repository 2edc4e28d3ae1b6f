import { defined } from '../contracts/defined.js'
import { type Alerts, type AlertsOptions, openAlerts } from './alerts.js'
import { createSigningSecret } from './secret.js'
import { openWebhook } from './webhook.js'

export type { AlertFacts, Alerts } from './alerts.js'

export interface AlertSettings {
  /** `ALERT_WEBHOOK_URL`. */
  webhookUrl?: { reveal(): string } | undefined
  /** `ALERT_WEBHOOK_SECRET`. */
  webhookSecret?: { reveal(): string } | undefined
}

/** Builds the alerts from the settings. Without `ALERT_WEBHOOK_URL` none are sent. */
export function startAlerts(
  { webhookUrl, webhookSecret }: AlertSettings,
  options: Omit<AlertsOptions, 'webhook'>,
): Alerts {
  const secret = createSigningSecret({ given: webhookSecret, records: options.records })
  const webhook = webhookUrl && openWebhook({ url: webhookUrl.reveal(), secret, ...defined({ now: options.now }) })
  return openAlerts({ ...options, webhook })
}
