import type { GatewayProblem, Quote, RequestOptions } from '../../client/index.js'
import { Answers } from './answers.js'
import { AskForm } from './ask-form.js'
import { CopyPanel } from './copy-panel.js'
import { byId } from './dom.js'
import type { GatewaySession } from './gateway-session.js'
import type { Answered, Picture } from './history.js'
import { createKeyPanel, type KeyPanel } from './key-panel.js'
import { forgetKey } from './key-store.js'
import * as lists from './points.js'
import { showProblem } from './problem-panel.js'
import { fileNameOf, isSameThing, type Question, selectionOf } from './question.js'
import { Quoting } from './quoting.js'
import { type RunKind, Runs } from './runs.js'
import { save } from './save.js'
import { Stage } from './stage.js'
import { sayProblem, sayQuote, type Words } from './wording.js'

const EVERY_CLICK_PAUSE_MS = 250

/** The page: holds what is asked, asks it, and shows what comes of it. */
export class Playground {
  readonly #stage = new Stage({
    add: (place, isLeftOut) => this.#add(place, isLeftOut ? 'remove' : this.#form.mark),
    move: (id, place, gesture) => this.#change(lists.movePoint(this.#points, id, place, gesture)),
    flip: id => this.#change(lists.flipPoint(this.#points, id)),
    drop: id => this.#change(lists.dropPoint(this.#points, id)),
  })
  readonly #form = new AskForm({
    ask: () => this.#ask(),
    abort: () => this.#abort(),
    undo: () => this.#change(lists.undo(this.#points)),
    clear: () => this.#change(lists.clearPoints(this.#points)),
    addInTheMiddle: () => this.#addInTheMiddle(),
    drop: id => this.#change(lists.dropPoint(this.#points, id)),
    changed: () => this.#questionChanged(),
  })
  readonly #answers = new Answers(this.#stage, entry => this.#restore(entry))
  readonly #copy = new CopyPanel()
  readonly #quoting = new Quoting({ quoted: quote => this.#quoted(quote), failed: problem => this.#notQuoted(problem) })
  readonly #runs = new Runs({
    changed: () => this.#showReadiness(),
    failed: (problem, kind) => this.#failed(problem, kind),
  })
  readonly #key: KeyPanel
  #session: GatewaySession | undefined
  #picture: Picture | undefined
  #points = lists.NO_POINTS
  #soon: ReturnType<typeof setTimeout> | undefined
  #queueWords = ''

  constructor() {
    byId('download', HTMLButtonElement).addEventListener('click', () => this.#download())
    byId('download-rle', HTMLButtonElement).addEventListener('click', () => this.#downloadRle())
    this.#key = createKeyPanel(session => this.#useSession(session))
    this.#questionChanged()
  }

  /** Begins anew with another picture. */
  usePicture(picture: Picture): void {
    this.#points = lists.NO_POINTS
    this.#answers.show(undefined)
    this.#replacePicture(picture)
    this.#questionChanged()
    this.#hold()
  }

  get #question(): Question {
    return { prompt: this.#form.prompt, points: this.#points.points, output: this.#form.output }
  }

  #useSession(session: GatewaySession | undefined): void {
    this.#runs.abort('hold', 'ask', 'rle')
    this.#session = session
    this.#questionChanged()
    this.#hold()
  }

  #replacePicture(picture: Picture): void {
    const before = this.#picture
    this.#runs.abort('hold', 'ask', 'rle')
    showProblem(undefined, () => {})
    this.#picture = picture
    this.#stage.showPicture(picture)
    if (before && before !== picture && !this.#answers.needs(before.url)) URL.revokeObjectURL(before.url)
  }

  /** Brings back an answer with its question. */
  #restore(entry: Answered): void {
    if (entry.picture !== this.#picture) this.#replacePicture(entry.picture)
    this.#points = lists.pointsFrom(entry.points)
    this.#form.fill(entry)
    this.#answers.show(entry)
    this.#questionChanged()
  }

  /** Sends the picture while its user still thinks. */
  async #hold(): Promise<void> {
    const [session, file] = [this.#session, this.#picture?.file]
    if (session && file) await this.#runs.run('hold', how => session.hold(file, how))
  }

  #add(place: lists.Place, mark: lists.Mark): number | undefined {
    const { nextId } = this.#points
    this.#change(lists.addPoint(this.#points, place, mark))
    return this.#points.nextId > nextId ? nextId : undefined
  }

  #addInTheMiddle(): void {
    const { width, height } = this.#picture?.size ?? { width: 1, height: 1 }
    const id = this.#add({ x: Math.floor(width / 2), y: Math.floor(height / 2) }, this.#form.mark)
    this.#stage.focusPoint(id)
  }

  #change(points: lists.PointList): void {
    if (points === this.#points) return
    this.#points = points
    this.#questionChanged(this.#form.asksOnEveryClick)
  }

  /** `asksSoon`: it is asked without another word. */
  #questionChanged(asksSoon = false): void {
    const { points, prompt } = this.#question
    this.#form.showPoints(this.#points, this.#picture !== undefined)
    if (this.#picture) this.#stage.showPoints(points, this.#picture.size, prompt.trim() === '')
    this.#showReadiness()
    this.#copy.show(this.#question, this.#picture)
    this.#quote(asksSoon && prompt.trim() === '')
  }

  /** Says what there is to do, or what asking would cost. */
  #quote(asksSoon = false): void {
    clearTimeout(this.#soon)
    this.#quoting.cancel()
    this.#answers.markCurrent(this.#isAnswered())
    const [session, picture, selection] = [this.#session, this.#picture, selectionOf(this.#question)]
    this.#form.say(this.#whatIsNext(asksSoon))
    if (!session || !picture || !selection || this.#isAnswered()) return
    if (asksSoon) this.#soon = setTimeout(() => this.#ask(), EVERY_CLICK_PAUSE_MS)
    else this.#quoting.ask(session, picture.file, selection)
  }

  #whatIsNext(asksSoon: boolean): Words {
    const selection = selectionOf(this.#question)
    if (!this.#session) return { tone: 'plain', text: 'First, your team key' }
    if (!this.#picture) return { tone: 'plain', text: 'First, a picture' }
    if (!selection) return { tone: 'plain', text: 'Click what to select', more: 'or name it in words' }
    if (this.#isAnswered()) return { tone: 'plain', text: 'Answered', more: 'Change something to ask anew.' }
    return { tone: 'plain', text: asksSoon ? 'Asked with every click' : 'What would it cost?' }
  }

  #isAnswered(): boolean {
    const { shown } = this.#answers
    return shown !== undefined && shown.output === this.#form.output && isSameThing(shown, this.#question)
  }

  #quoted(quote: Quote): void {
    const { wouldBe, costCredits, allowed, queue } = quote
    this.#form.say(sayQuote(quote, this.#session?.isTestKey ?? false))
    this.#key.showRemaining(quote.remainingCredits)
    this.#queueWords = queue.depth > 0 ? `${queue.depth} before it` : ''
    // The selection that is shown, in another form that is there already: nothing is to be decided, and nothing can be spent.
    const { shown } = this.#answers
    const isThere = allowed && wouldBe === 'hit' && costCredits === 0
    if (isThere && shown && isSameThing(shown, this.#question)) this.#ask({ cacheControl: 'only-if-cached' })
  }

  #notQuoted(problem: GatewayProblem): void {
    if (this.#isAboutKey(problem)) return
    const { title, sentences } = sayProblem(problem)
    this.#form.say({ tone: 'bad', text: title, more: sentences[0] ?? '' })
  }

  async #ask(how: RequestOptions = {}): Promise<void> {
    const question = this.#question
    const [session, picture, selection] = [this.#session, this.#picture, selectionOf(question)]
    if (!session || !picture || !selection) return
    clearTimeout(this.#soon)
    this.#quoting.cancel()
    showProblem(undefined, () => {})
    this.#form.say({ tone: 'plain', text: 'Asked' })
    const began = performance.now()
    const work = (options: RequestOptions) => session.segment(picture.file, selection, { ...options, ...how })
    const answer = await this.#runs.run('ask', work, this.#queueWords)
    if (!answer) return
    const [elapsedMs, url] = [performance.now() - began, URL.createObjectURL(answer.blob())]
    this.#answers.add({ ...question, picture, answer, url, elapsedMs, at: new Date() })
    this.#key.showRemaining(answer.remainingCredits)
    this.#quote()
  }

  #abort(): void {
    const wasAsking = this.#runs.isOn('ask')
    this.#runs.abort('hold', 'ask', 'rle')
    const more = wasAsking
      ? 'What Segmind was asked already is paid all the same; asked again, the answer is there.'
      : ''
    this.#form.say({ tone: 'warn', text: 'Stopped', more })
  }

  #download(): void {
    const { shown } = this.#answers
    if (!shown) return
    const { answer, picture, output } = shown
    save(answer.blob(), fileNameOf(picture.name, output, answer.contentType))
  }

  /** Made of the mask that was bought: it must not buy another one. */
  async #downloadRle(): Promise<void> {
    const [session, { shown }] = [this.#session, this.#answers]
    const selection = shown && selectionOf(shown)
    if (!session || !selection) return
    const asked = { ...selection, output: 'rle' } as const
    const answer = await this.#runs.run('rle', how =>
      session.segment(shown.picture.file, asked, { ...how, cacheControl: 'only-if-cached' }),
    )
    if (answer) save(answer.blob(), fileNameOf(shown.picture.name, 'rle', answer.contentType))
  }

  #failed(problem: GatewayProblem, kind: RunKind): void {
    if (this.#isAboutKey(problem)) return
    if (kind === 'ask') this.#form.say({ tone: 'bad', text: 'Not answered' })
    showProblem(problem, () => this.#again())
  }

  #again(): void {
    showProblem(undefined, () => {})
    if (selectionOf(this.#question)) this.#ask()
    else this.#hold()
  }

  #isAboutKey(problem: GatewayProblem): boolean {
    if (problem.code !== 'unauthorized' && problem.code !== 'forbidden') return false
    if (problem.code === 'unauthorized') forgetKey()
    const { title, sentences } = sayProblem(problem)
    this.#key.ask(`${title}. ${sentences[0] ?? ''} Request ${problem.requestId ?? 'without an id'}.`)
    return true
  }

  #showReadiness(): void {
    const isReady =
      this.#session !== undefined && this.#picture !== undefined && selectionOf(this.#question) !== undefined
    this.#form.showReadiness(isReady, this.#runs.isOn('ask'), this.#runs.isBusy)
  }
}
