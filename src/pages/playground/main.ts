import { acceptImages } from './image/image-picker.js'
import { Playground } from './playground.js'

const playground = new Playground()
acceptImages(image => playground.useImage(image))
