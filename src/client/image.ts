/** An image: its bytes, its id (`sha256:<64 hex digits>`), or an `http(s)` URL to fetch it from. */
export type ImageInput = Blob | Uint8Array | ArrayBuffer | string

/** An image as requests can contain it. */
export interface ImageSource {
  /** Its id or URL. Absent if the id is unknown. */
  reference?: string
  bytes?: Blob
}

/** Remembers the ids of the images of one client for as long as the caller keeps the images. */
export class ImageIds {
  readonly #ids = new WeakMap<object, string>()

  /** Hashes the image once. Without `crypto.subtle` (no https) the id may stay unknown. */
  async sourceOf(input: ImageInput, onHashing?: () => void): Promise<ImageSource> {
    if (typeof input === 'string') return { reference: input }
    const bytes = input instanceof Blob ? input : new Blob([input as Uint8Array<ArrayBuffer>])
    const known = this.#ids.get(input)
    if (known !== undefined) return { reference: known, bytes }
    const subtle = globalThis.crypto?.subtle
    if (!subtle) return { bytes }
    onHashing?.()
    const id = `sha256:${hex(await subtle.digest('SHA-256', await bytes.arrayBuffer()))}`
    this.#ids.set(input, id)
    return { reference: id, bytes }
  }

  /** Stores the id that the gateway reports for an image. */
  remember(input: ImageInput, id: string | null): void {
    if (typeof input !== 'string' && id !== null) this.#ids.set(input, id)
  }
}

function hex(bytes: ArrayBuffer): string {
  return [...new Uint8Array(bytes)].map(byte => byte.toString(16).padStart(2, '0')).join('')
}
