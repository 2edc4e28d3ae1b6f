import { Api, type Session } from './api.js'
import { problemShown } from './dialogs.js'
import { byId } from './element.js'
import { Problem } from './problem.js'

/** Asks for the operator key until the gateway takes it. `why`: what was wrong with the one before. */
export function askForSession(why?: string): Promise<Session> {
  const form = byId<HTMLFormElement>('sign-in')
  const key = byId<HTMLInputElement>('key')
  const name = byId<HTMLInputElement>('name')
  const problem = byId('sign-in-problem')
  const submit = byId<HTMLButtonElement>('sign-in-submit')
  form.hidden = false
  problem.replaceChildren(...(why === undefined ? [] : problemShown(new Problem({ message: why }))))
  key.focus()
  return new Promise(resolve => {
    const tried = async (event: SubmitEvent) => {
      event.preventDefault()
      problem.replaceChildren()
      submit.disabled = true
      const session = { key: key.value.trim(), name: name.value.trim() }
      try {
        await new Api(session).get('/overview')
        form.removeEventListener('submit', listener)
        form.hidden = true
        key.value = ''
        resolve(session)
      } catch (error) {
        problem.replaceChildren(...problemShown(error))
        key.select()
      } finally {
        submit.disabled = false
      }
    }
    const listener = (event: SubmitEvent) => void tried(event)
    form.addEventListener('submit', listener)
  })
}
