import { byId } from '../../dom.js'
import type { LoadedImage } from './loaded-image.js'

const ACCEPTED = ['image/jpeg', 'image/png', 'image/webp']

/** Accepts images that are dropped, pasted or chosen. */
export function acceptImages(onImage: (image: LoadedImage) => void): void {
  const problem = byId('file-problem')
  const input = byId('file', HTMLInputElement)
  const accept = async (file: File | undefined) => {
    if (!file) return
    const loaded = await load(file)
    problem.textContent = typeof loaded === 'string' ? loaded : ''
    if (typeof loaded !== 'string') onImage(loaded)
  }
  for (const id of ['choose-image', 'change-image']) byId(id).addEventListener('click', () => input.click())
  input.addEventListener('change', () => {
    void accept(input.files?.[0])
    // Otherwise choosing the same file again fires no event.
    input.value = ''
  })
  document.addEventListener('paste', event => {
    const file = event.clipboardData?.files[0]
    if (!file) return
    event.preventDefault()
    void accept(file)
  })
  acceptDrops(accept)
}

function acceptDrops(accept: (file: File | undefined) => void): void {
  const highlight = (isOver: boolean) => byId('viewer').classList.toggle('dropping', isOver)
  document.addEventListener('dragover', event => {
    event.preventDefault()
    highlight(event.dataTransfer?.types.includes('Files') ?? false)
  })
  document.addEventListener('dragleave', event => {
    if (event.relatedTarget === null) highlight(false)
  })
  document.addEventListener('drop', event => {
    event.preventDefault()
    highlight(false)
    accept(event.dataTransfer?.files[0])
  })
}

/** Returns the image in a file, or the reason why there is none. */
async function load(file: File): Promise<LoadedImage | string> {
  if (!ACCEPTED.includes(file.type)) return `${file.name} is not a JPEG, PNG or WebP file.`
  const url = URL.createObjectURL(file)
  const image = new Image()
  image.src = url
  try {
    await image.decode()
  } catch {
    URL.revokeObjectURL(url)
    return `${file.name} cannot be read as an image.`
  }
  return { file, url, name: file.name, size: { width: image.naturalWidth, height: image.naturalHeight } }
}
