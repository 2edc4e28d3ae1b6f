import { announce, button, type Child, el, refocus } from './element.js'
import { asProblem } from './problem.js'

export interface Question<T> {
  title: string
  /** What will happen, and what must be known for it. */
  body: readonly Child[]
  /** On the button that does it. */
  confirm: string
  isDanger?: boolean
  /** A word that must be typed before it is done. */
  typed?: string
  /** Does it. What it throws is told in the dialog, which stays. */
  perform(form: FormData): Promise<T>
  /** What is said aloud when it is done. */
  done: string
  /** What must be seen before the dialog goes: it does not go by itself. */
  result?(outcome: T): readonly Child[]
}

/** Asks, and does it when it is confirmed. Resolves when the dialog is gone: with what came of it, if anything was done. */
export function ask<T>(question: Question<T>): Promise<T | undefined> {
  const problem = el('div', { class: 'problem', role: 'alert' })
  const confirm = el('button', { type: 'submit', class: question.isDanger ? 'danger' : 'primary' }, question.confirm)
  const { dialog, closed } = openDialog(question.title)
  const cancel = button('Cancel', {}, () => dialog.close())
  const form = el('form', { novalidate: false }, ...question.body, ...typedFields(question.typed, confirm), problem)
  form.append(el('div', { class: 'actions' }, confirm, cancel))
  dialog.append(form)
  let outcome: T | undefined
  form.addEventListener('submit', event => {
    event.preventDefault()
    problem.replaceChildren()
    confirm.disabled = true
    question.perform(new FormData(form)).then(
      done => {
        outcome = done
        announce(question.done)
        if (question.result) showResult(dialog, form, question.result(done))
        else dialog.close()
      },
      (thrown: unknown) => {
        confirm.disabled = false
        problem.replaceChildren(...problemShown(thrown))
      },
    )
  })
  return closed.then(() => outcome)
}

/** Shows something that is only to be read. `content` may come later. */
export async function showDialog(title: string, content: Promise<readonly Child[]>): Promise<void> {
  const { dialog, closed } = openDialog(title)
  const body = el('div', { class: 'dialog-body', 'aria-live': 'polite' }, 'One moment …')
  dialog.append(
    body,
    el(
      'div',
      { class: 'actions' },
      button('Close', {}, () => dialog.close()),
    ),
  )
  body.replaceChildren(...(await content.catch(problemShown)))
  await closed
}

/** What went wrong, in plain words, and the id it is found by in the log. */
export function problemShown(thrown: unknown): Child[] {
  const { message, requestId } = asProblem(thrown)
  const id = requestId === '' ? [] : [el('p', { class: 'quiet' }, 'Request id ', el('code', {}, requestId))]
  return [el('p', {}, message), ...id]
}

/** A field with its name above it and, if need be, words below it. */
export function field(label: string, input: HTMLElement, hint = ''): HTMLElement {
  const words = hint === '' ? [] : [el('span', { class: 'quiet' }, hint)]
  return el('label', { class: 'field' }, el('span', {}, label), input, ...words)
}

function openDialog(title: string) {
  const opener = document.activeElement
  const heading = el('h2', { id: 'dialog-title' }, title)
  const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' }, heading)
  document.body.append(dialog)
  const closed = new Promise<void>(resolve => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve()
      if (opener instanceof HTMLElement && !opener.isConnected) refocus(opener.dataset.focus ?? '')
    })
  })
  dialog.showModal()
  return { dialog, closed }
}

function typedFields(word: string | undefined, confirm: HTMLButtonElement): HTMLElement[] {
  if (word === undefined) return []
  const input = el('input', { name: 'typed', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' })
  confirm.disabled = true
  input.addEventListener('input', () => {
    confirm.disabled = input.value.trim() !== word
  })
  const label = el('span', {}, 'Type ', el('strong', {}, word), ' to confirm')
  return [el('label', { class: 'field' }, label, input)]
}

function showResult(dialog: HTMLDialogElement, form: HTMLFormElement, content: readonly Child[]): void {
  const close = button('Done', { class: 'primary' }, () => dialog.close())
  // What is shown this once must not go by a slip of the finger.
  dialog.addEventListener('cancel', event => event.preventDefault())
  form.replaceWith(el('div', { class: 'dialog-body' }, ...content), el('div', { class: 'actions' }, close))
  close.focus()
}
