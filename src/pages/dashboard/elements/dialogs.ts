import { GatewayProblem, networkProblem } from '../../../client/problem.js'
import { button, type Child, el } from '../../dom.js'
import { announce, focusNamed } from './live-update.js'

export interface FormDialog<T> {
  title: string
  /** Text and fields above the buttons. */
  body: readonly Child[]
  /** Label of the submit button. */
  submit: string
  isDanger?: boolean
  /** Text to type before the submit button is enabled. */
  confirmation?: string
  /** Runs on submit. If it throws, the dialog shows the problem and stays open. */
  perform(form: FormData): Promise<T>
  /** Announced to screen readers on success. */
  done: string
  /** Content to show on success. With it, the dialog stays open until the operator closes it. */
  result?(outcome: T): readonly Child[]
}

/** Opens a form in a dialog. Resolves on close, with undefined if it was cancelled. */
export function openForm<T>(options: FormDialog<T>): Promise<T | undefined> {
  const problem = el('div.problem', { role: 'alert' })
  const submit = el('button', { type: 'submit', class: options.isDanger ? 'danger' : 'primary' }, options.submit)
  const { dialog, closed } = openDialog(options.title)
  const cancel = button('Cancel', {}, () => dialog.close())
  const confirmation = options.confirmation === undefined ? [] : [confirmationField(options.confirmation, submit)]
  const form = el('form', ...options.body, ...confirmation, problem, el('div.actions', submit, cancel))
  dialog.append(form)
  let outcome: T | undefined
  form.addEventListener('submit', async event => {
    event.preventDefault()
    problem.replaceChildren()
    submit.disabled = true
    try {
      outcome = await options.perform(new FormData(form))
      announce(options.done)
      if (options.result) showResult(dialog, form, options.result(outcome))
      else dialog.close()
    } catch (error) {
      submit.disabled = false
      problem.replaceChildren(...problemContent(error))
    }
  })
  return closed.then(() => outcome)
}

/** Opens a dialog to read. */
export async function openDetails(title: string, content: Promise<readonly Child[]>): Promise<void> {
  const { dialog } = openDialog(title)
  const body = el('div', { 'aria-live': 'polite' }, 'Loading…')
  const close = button('Close', {}, () => dialog.close())
  dialog.append(body, el('div.actions', close))
  body.replaceChildren(...(await content.catch(problemContent)))
}

/** Returns the message of a failure and the request id to look it up by. */
export function problemContent(error: unknown): Child[] {
  const { message, requestId } = error instanceof GatewayProblem ? error : networkProblem(error)
  return [el('p', message), ...(requestId ? [el('p.quiet', 'Request id ', el('code', requestId))] : [])]
}

export function field(label: string, input: HTMLElement, hint = ''): HTMLElement {
  return el('label.field', el('span', label), input, ...(hint === '' ? [] : [el('span.quiet', hint)]))
}

/** Reads a text field. */
export function fieldText(form: FormData, name: string): string {
  return String(form.get(name) ?? '').trim()
}

/** Reads a text field as an object member, left out if the field is empty. */
export function optionalField(form: FormData, name: string): Record<string, string> {
  const value = fieldText(form, name)
  return value === '' ? {} : { [name]: value }
}

function openDialog(title: string) {
  const opener = document.activeElement
  const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' }, el('h2', { id: 'dialog-title' }, title))
  document.body.append(dialog)
  const closed = new Promise<void>(resolve => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve()
      if (opener instanceof HTMLElement && !opener.isConnected) focusNamed(opener.dataset.focus)
    })
  })
  dialog.showModal()
  return { dialog, closed }
}

function confirmationField(text: string, submit: HTMLButtonElement): HTMLElement {
  const input = el('input', { name: 'typed', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' })
  submit.disabled = true
  input.addEventListener('input', () => {
    submit.disabled = input.value.trim() !== text
  })
  return el('label.field', el('span', 'Type ', el('strong', text), ' to confirm'), input)
}

function showResult(dialog: HTMLDialogElement, form: HTMLFormElement, content: readonly Child[]): void {
  const close = button('Done', { class: 'primary' }, () => dialog.close())
  // The result is shown only once, so Escape must not close it.
  dialog.addEventListener('cancel', event => event.preventDefault())
  form.replaceWith(el('div', ...content), el('div.actions', close))
  close.focus()
}
