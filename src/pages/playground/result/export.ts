import type { Selection } from '../../../client/index.js'
import { byId } from '../../dom.js'

/** A form of the mask that is downloaded, and the tolerance of its outline. */
export type ExportForm = Required<Pick<Selection, 'output'>> & Pick<Selection, 'simplify'>

/** Calls `start` when the user downloads another form. Only outlines have a tolerance. */
export function onExport(start: (form: ExportForm) => void): void {
  const output = byId('export-output', HTMLSelectElement)
  const simplify = byId('simplify', HTMLInputElement)
  const showTolerance = () => {
    simplify.disabled = output.value === 'rle'
    byId('simplify-field').hidden = simplify.disabled
  }
  output.addEventListener('change', showTolerance)
  showTolerance()
  byId('export').addEventListener('submit', event => {
    event.preventDefault()
    const tolerance = simplify.disabled ? {} : { simplify: simplify.valueAsNumber }
    start({ output: output.value as ExportForm['output'], ...tolerance })
  })
}

/** Enables the download of other forms. They are made from a mask, not from an overlay. */
export function allowExport(isAllowed: boolean): void {
  const button = byId('export-button', HTMLButtonElement)
  button.disabled = !isAllowed
  button.title = isAllowed ? '' : 'Request the mask first: other forms are made from it.'
}
