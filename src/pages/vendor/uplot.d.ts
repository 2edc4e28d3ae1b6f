/** The charts, as the build copies them beside this file: https://github.com/leeoniya/uPlot (MIT). */
export { default } from 'uplot'
