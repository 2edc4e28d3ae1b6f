/** Whether Segmind takes the shared key, as far as was heard: of calls, and of questions for the balance, which may be permitted apart. */
export class SharedKey {
  #calls: 'accepted' | 'refused' | undefined
  #balance: 'accepted' | 'refused' | undefined

  /** Takes down what came of a call: `ok`, or an error code. */
  called(code: string): void {
    if (code === 'upstream_unauthorized') this.#calls = 'refused'
    // Whatever else Segmind has to say about a call, it has let the key in.
    if (code === 'ok' || code === 'upstream_rejected' || code === 'credits_exhausted') this.#calls = 'accepted'
  }

  /** Takes down what came of asking for the balance; undefined where Segmind did not say whether it takes the key. */
  asked(outcome: 'accepted' | 'refused' | undefined): void {
    this.#balance = outcome ?? this.#balance
  }

  /** Undefined while nothing was heard. */
  get state(): 'accepted' | 'refused' | undefined {
    if (this.#calls === 'refused' || this.#balance === 'refused') return 'refused'
    return this.#calls ?? this.#balance
  }
}
