/** Every setting: name, default, bounds, one slice a part (SPEC §9). */
export { envExample, settingsMarkdown } from './config/print.js'
export { isSettingsError, type SettingsError } from './config/read.js'
export { Secret } from './config/secret.js'
export { loadSettings, loadSlices, type Settings, teamsFile } from './config/settings.js'
export { SETTINGS, type Setting, type SliceName, type Slices } from './config/table.js'
