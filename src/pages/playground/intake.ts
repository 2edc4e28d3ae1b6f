import { byId } from './dom.js'
import type { Picture } from './history.js'

const ACCEPTED = ['image/jpeg', 'image/png', 'image/webp']

/** Takes pictures that are dropped, pasted or chosen. */
export function takePictures(onPicture: (picture: Picture) => void): void {
  const problem = byId('file-problem', HTMLElement)
  const input = byId('file', HTMLInputElement)
  const take = async (file: File | undefined) => {
    if (!file) return
    const found = await open(file)
    problem.textContent = typeof found === 'string' ? found : ''
    if (typeof found !== 'string') onPicture(found)
  }
  for (const id of ['choose', 'another']) byId(id, HTMLButtonElement).addEventListener('click', () => input.click())
  input.addEventListener('change', () => {
    take(input.files?.[0])
    // The same file, chosen again, is a change again.
    input.value = ''
  })
  document.addEventListener('paste', event => {
    const file = event.clipboardData?.files[0]
    if (!file) return
    event.preventDefault()
    take(file)
  })
  takeDrops(take)
}

function takeDrops(take: (file: File | undefined) => void): void {
  const stage = byId('stage', HTMLElement)
  const show = (isOver: boolean) => stage.classList.toggle('dropping', isOver)
  document.addEventListener('dragover', event => {
    event.preventDefault()
    show(event.dataTransfer?.types.includes('Files') ?? false)
  })
  document.addEventListener('dragleave', event => {
    if (event.relatedTarget === null) show(false)
  })
  document.addEventListener('drop', event => {
    event.preventDefault()
    show(false)
    take(event.dataTransfer?.files[0])
  })
}

/** The picture in a file, or why there is none. */
async function open(file: File): Promise<Picture | string> {
  if (!ACCEPTED.includes(file.type)) return `${file.name} is not a JPEG, PNG or WebP.`
  const url = URL.createObjectURL(file)
  const image = new Image()
  image.src = url
  try {
    await image.decode()
  } catch {
    URL.revokeObjectURL(url)
    return `${file.name} cannot be read as a picture.`
  }
  return { file, url, name: file.name, size: { width: image.naturalWidth, height: image.naturalHeight } }
}
