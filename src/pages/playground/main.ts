import { takePictures } from './intake.js'
import { Playground } from './playground.js'

const playground = new Playground()
takePictures(picture => playground.usePicture(picture))
