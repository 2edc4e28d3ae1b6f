import type { GatewayProblem, Quote, RequestOptions } from '../../client/index.js'
import { byId, el } from '../dom.js'
import type { Pixel } from './image/geometry.js'
import type { LoadedImage } from './image/loaded-image.js'
import * as lists from './image/points.js'
import { Viewer } from './image/viewer.js'
import type { GatewaySession } from './key/gateway-session.js'
import { createKeyPanel, type KeyPanel } from './key/key-panel.js'
import { forgetKey } from './key/key-store.js'
import { CodePanel } from './request/code-panel.js'
import { DelayedQuote } from './request/delayed-quote.js'
import { RequestForm } from './request/request-form.js'
import { fileNameOf, isSameSelection, type SelectionInput, selectionOf } from './request/selection.js'
import { type TaskKind, Tasks } from './request/tasks.js'
import { type ExportForm, onExport } from './result/export.js'
import type { Result } from './result/history.js'
import { showProblem } from './result/problem-panel.js'
import { Results } from './result/results.js'
import { type Message, problemText, quoteText } from './wording.js'

const EVERY_CLICK_DELAY_MS = 250
const DOWNLOAD_URL_MS = 60_000

/** The page: holds the current selection, requests its quote and its result, and shows them. */
export class Playground {
  readonly #viewer = new Viewer({
    add: (at, isExcluded) => this.#addPoint(at, isExcluded ? 'exclude' : this.#form.pointKind),
    move: (id, to, gesture) => this.#setPoints(lists.movePoint(this.#points, id, to, gesture)),
    toggle: id => this.#setPoints(lists.togglePoint(this.#points, id)),
    remove: id => this.#setPoints(lists.removePoint(this.#points, id)),
  })
  readonly #form = new RequestForm({
    segment: () => this.#segment(),
    cancel: () => this.#cancel(),
    undo: () => this.#setPoints(lists.undo(this.#points)),
    clear: () => this.#setPoints(lists.clearPoints(this.#points)),
    addPoint: () => this.#addPointAtCentre(),
    removePoint: id => this.#setPoints(lists.removePoint(this.#points, id)),
    change: () => this.#selectionChanged(),
  })
  readonly #results = new Results(this.#viewer, result => this.#restore(result))
  readonly #code = new CodePanel()
  readonly #quote = new DelayedQuote({
    quoted: quote => this.#quoted(quote),
    failed: error => this.#quoteFailed(error),
  })
  readonly #tasks = new Tasks({
    changed: () => this.#showReadiness(),
    failed: (problem, kind) => this.#taskFailed(problem, kind),
  })
  readonly #key: KeyPanel
  #session: GatewaySession | undefined
  #image: LoadedImage | undefined
  #points = lists.NO_POINTS
  #clickTimer: ReturnType<typeof setTimeout> | undefined
  #queueNote = ''

  constructor() {
    byId('download').addEventListener('click', () => this.#download())
    onExport(form => void this.#export(form))
    this.#key = createKeyPanel(session => this.#useSession(session))
    this.#selectionChanged()
  }

  /** Starts over with another image. */
  useImage(image: LoadedImage): void {
    this.#points = lists.NO_POINTS
    this.#results.show(undefined)
    this.#replaceImage(image)
    this.#selectionChanged()
    void this.#upload()
  }

  get #input(): SelectionInput {
    return { prompt: this.#form.prompt, points: this.#points.points, output: this.#form.output }
  }

  #useSession(session: GatewaySession | undefined): void {
    this.#tasks.cancelAll()
    this.#session = session
    this.#selectionChanged()
    void this.#upload()
  }

  #replaceImage(image: LoadedImage): void {
    const before = this.#image
    this.#tasks.cancelAll()
    showProblem()
    this.#image = image
    this.#viewer.showImage(image)
    if (before && before !== image && !this.#results.usesUrl(before.url)) URL.revokeObjectURL(before.url)
  }

  /** Brings back a result with its image and its request. */
  #restore(result: Result): void {
    if (result.image !== this.#image) this.#replaceImage(result.image)
    this.#points = lists.pointsFrom(result.points)
    this.#form.fill(result)
    this.#results.show(result)
    this.#selectionChanged()
  }

  /** Uploads the image while the user still makes the selection. */
  async #upload(): Promise<void> {
    const [session, file] = [this.#session, this.#image?.file]
    if (session && file) await this.#tasks.run('upload', options => session.ensureUploaded(file, options))
  }

  /** Returns the id of the new point, or undefined if the list is full. */
  #addPoint(at: Pixel, kind: lists.PointKind): number | undefined {
    const { nextId } = this.#points
    this.#setPoints(lists.addPoint(this.#points, at, kind))
    return this.#points.nextId > nextId ? nextId : undefined
  }

  #addPointAtCentre(): void {
    const { width, height } = this.#image?.size ?? { width: 1, height: 1 }
    const id = this.#addPoint({ x: Math.floor(width / 2), y: Math.floor(height / 2) }, this.#form.pointKind)
    this.#viewer.focusPoint(id)
  }

  #setPoints(points: lists.PointList): void {
    if (points === this.#points) return
    this.#points = points
    this.#selectionChanged(this.#form.segmentsOnEveryClick)
  }

  #selectionChanged(isAutomatic = false): void {
    const { points, prompt } = this.#input
    this.#form.showPoints(this.#points, this.#image !== undefined)
    if (this.#image) this.#viewer.showPoints(points, this.#image.size, prompt.trim() === '')
    this.#showReadiness()
    this.#code.show(this.#input, this.#image)
    this.#showNextStep(isAutomatic && prompt.trim() === '')
  }

  /** Shows the next step and requests a quote. If `isAutomatic`, requests the result instead. */
  #showNextStep(isAutomatic = false): void {
    clearTimeout(this.#clickTimer)
    this.#quote.cancel()
    const isDone = this.#isDone()
    this.#results.markCurrent(isDone)
    this.#form.showMessage(this.#nextStep(isDone, isAutomatic))
    const [session, image, selection] = [this.#session, this.#image, selectionOf(this.#input)]
    if (!session || !image || !selection || isDone) return
    if (isAutomatic) this.#clickTimer = setTimeout(() => this.#segment(), EVERY_CLICK_DELAY_MS)
    else this.#quote.request(session, image.file, selection)
  }

  #nextStep(isDone: boolean, isAutomatic: boolean): Message {
    if (!this.#session) return { tone: 'plain', text: 'Enter your team key' }
    if (!this.#image) return { tone: 'plain', text: 'Choose an image' }
    if (!selectionOf(this.#input))
      return { tone: 'plain', text: 'Click the object', more: 'or describe it in a prompt' }
    if (isDone) return { tone: 'plain', text: 'Done', more: 'Change the selection for another result.' }
    return { tone: 'plain', text: isAutomatic ? 'Segmenting on every click' : 'Fetching a quote…' }
  }

  #isDone(): boolean {
    const { shown } = this.#results
    return shown !== undefined && shown.output === this.#form.output && isSameSelection(shown, this.#input)
  }

  #quoted(quote: Quote): void {
    const { wouldBe, costCredits, allowed, queue } = quote
    this.#form.showMessage(quoteText(quote, this.#session?.isTestKey ?? false))
    this.#key.showRemaining(quote.remainingCredits)
    this.#queueNote = queue.depth > 0 ? `${queue.depth} ahead` : ''
    // Another output of the selection on display is fetched at once if it is free and cached.
    const { shown } = this.#results
    const isCached = allowed && wouldBe === 'hit' && costCredits === 0
    if (isCached && shown && isSameSelection(shown, this.#input)) void this.#segment({ cacheControl: 'only-if-cached' })
  }

  #quoteFailed(problem: GatewayProblem): void {
    if (this.#isKeyProblem(problem)) return
    const { title, sentences } = problemText(problem)
    this.#form.showMessage({ tone: 'bad', text: title, more: sentences[0] ?? '' })
  }

  async #segment(overrides: RequestOptions = {}): Promise<void> {
    const input = this.#input
    const [session, image, selection] = [this.#session, this.#image, selectionOf(input)]
    if (!session || !image || !selection) return
    clearTimeout(this.#clickTimer)
    this.#quote.cancel()
    showProblem()
    this.#form.showMessage({ tone: 'plain', text: 'Segmenting…' })
    const startedAt = performance.now()
    const task = (options: RequestOptions) => session.segment(image.file, selection, { ...options, ...overrides })
    const answer = await this.#tasks.run('segment', task, this.#queueNote)
    if (!answer) return
    const elapsedMs = performance.now() - startedAt
    this.#results.add({ ...input, image, answer, url: URL.createObjectURL(answer.blob()), elapsedMs, at: new Date() })
    this.#key.showRemaining(answer.remainingCredits)
    this.#showNextStep()
  }

  #cancel(): void {
    const wasSegmenting = this.#tasks.isRunning('segment')
    this.#tasks.cancelAll()
    const more = wasSegmenting
      ? 'A call that already reached Segmind is still charged. The same request again returns its result.'
      : ''
    this.#form.showMessage({ tone: 'warn', text: 'Cancelled', more })
  }

  #download(): void {
    const { shown } = this.#results
    if (shown) save(shown.answer.blob(), fileNameOf(shown.image.name, shown.output, shown.answer.contentType))
  }

  /**
   * Downloads another form of the mask on display. Accepts only a cached result, to buy nothing.
   */
  async #export(form: ExportForm): Promise<void> {
    const [session, { shown }] = [this.#session, this.#results]
    const selection = shown && selectionOf(shown)
    if (!session || !selection) return
    const answer = await this.#tasks.run('export', options =>
      session.segment(shown.image.file, { ...selection, ...form }, { ...options, cacheControl: 'only-if-cached' }),
    )
    if (answer) save(answer.blob(), fileNameOf(shown.image.name, form.output, answer.contentType))
  }

  #taskFailed(problem: GatewayProblem, kind: TaskKind): void {
    if (this.#isKeyProblem(problem)) return
    if (kind === 'segment') this.#form.showMessage({ tone: 'bad', text: 'Request failed' })
    showProblem(problem, () => this.#retry())
  }

  #retry(): void {
    showProblem()
    if (selectionOf(this.#input)) void this.#segment()
    else void this.#upload()
  }

  /** Asks for another key if the gateway refuses this one. */
  #isKeyProblem(problem: GatewayProblem): boolean {
    if (problem.code !== 'unauthorized' && problem.code !== 'forbidden') return false
    if (problem.code === 'unauthorized') forgetKey()
    const { title, sentences, requestId } = problemText(problem)
    this.#key.requestKey(`${title}. ${sentences[0] ?? ''}${requestId ? ` Request id ${requestId}.` : ''}`)
    return true
  }

  #showReadiness(): void {
    const isReady = this.#session !== undefined && this.#image !== undefined && selectionOf(this.#input) !== undefined
    this.#form.showReadiness(isReady, this.#tasks.isRunning('segment'), this.#tasks.isBusy)
  }
}

/** Downloads a file. */
function save(content: Blob, name: string): void {
  const href = URL.createObjectURL(content)
  el('a', { href, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(href), DOWNLOAD_URL_MS)
}
