/** The chart library, copied here by the build: https://github.com/leeoniya/uPlot (MIT). */
export { default } from 'uplot'
