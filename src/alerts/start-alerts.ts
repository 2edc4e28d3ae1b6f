import { type Alerts, type AlertsOptions, openAlerts } from './alerts.js'
import { createSigningSecret } from './secret.js'
import { openWebhook } from './webhook.js'

export type { AlertFacts, AlertNote, Alerts } from './alerts.js'

export interface AlertSettings {
  /** `ALERT_WEBHOOK_URL`. */
  webhookUrl?: { reveal(): string } | undefined
  /** `ALERT_WEBHOOK_SECRET`. */
  webhookSecret?: { reveal(): string } | undefined
}

/** Alerts as the settings want them: none without a webhook. */
export function startAlerts(
  { webhookUrl, webhookSecret }: AlertSettings,
  options: Omit<AlertsOptions, 'webhook'>,
): Alerts {
  const secret = createSigningSecret({ given: webhookSecret, records: options.records })
  const webhook =
    webhookUrl && openWebhook({ url: webhookUrl.reveal(), secret, ...(options.now && { now: options.now }) })
  return openAlerts({ ...options, webhook })
}
