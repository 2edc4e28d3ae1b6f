/** Defined by `vendor/swagger-ui-bundle.js`. */
declare const SwaggerUIBundle: (options: Record<string, unknown>) => void

SwaggerUIBundle({
  dom_id: '#swagger-ui',
  url: '/docs/json',
  deepLinking: true,
  tryItOutEnabled: true,
  // Without this, the viewer would send the document's address to a public validator.
  validatorUrl: 'none',
})

export {}
