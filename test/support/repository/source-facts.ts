import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import ts from 'typescript'

/**
 * Facts about one source file. Paths are relative to its tree, with forward slashes:
 * `store/redis/gate.ts`.
 */
export interface SourceFacts {
  path: string
  lines: number
  /** Files of the same tree, by path. */
  imports: readonly string[]
  /** Files of the same tree that run as a thread of their own. */
  threads: readonly string[]
  /** Packages and `node:` modules, by name. */
  packages: readonly string[]
  /** Each with its line: `console.log (12)`. */
  console: readonly string[]
  env: readonly string[]
  mutableState: readonly string[]
  /** `GatewayError extends Error`. */
  inheritance: readonly string[]
  /** Skipped tests, and tests that prevent others from running. */
  unrunTests: readonly string[]
}

/** Reads every file of a tree whose name ends with one of `endings`. */
export function readTree(root: string, endings: readonly string[] = ['.ts']): SourceFacts[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(name => endings.some(ending => name.endsWith(ending)))
    .map(name => factsOf(name.split(sep).join('/'), readFileSync(join(root, name), 'utf8')))
    .sort((one, other) => one.path.localeCompare(other.path))
}

/** Reads one file's text. */
export function factsOf(path: string, text: string): SourceFacts {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const specifiers = all(file).flatMap(node => specifierOf(node) ?? [])
  const threads = all(file).flatMap(node => threadOf(node) ?? [])
  const isOwn = (specifier: string) => specifier.startsWith('.')
  const ownPath = (specifier: string) => posix.join(posix.dirname(path), specifier).replace(/\.js$/, '.ts')
  return {
    path,
    lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0),
    imports: specifiers.filter(isOwn).map(ownPath),
    threads: threads.map(ownPath),
    packages: specifiers.filter(name => !isOwn(name)).map(packageOf),
    console: find(file, node => ts.isIdentifier(node) && node.text === 'console' && isReference(node)),
    env: find(file, readsEnvironment),
    mutableState: mutableStateOf(file),
    inheritance: all(file).flatMap(inheritanceOf),
    unrunTests: find(file, leavesTestsOut),
  }
}

function all(root: ts.Node): ts.Node[] {
  const nodes: ts.Node[] = []
  const visit = (node: ts.Node) => {
    nodes.push(node)
    ts.forEachChild(node, visit)
  }
  visit(root)
  return nodes
}

function find(file: ts.SourceFile, matches: (node: ts.Node) => boolean): string[] {
  return all(file).filter(matches).map(described)
}

/** Returns the beginning of a node's text, and its line. */
function described(node: ts.Node): string {
  const file = node.getSourceFile()
  const shown = ts.isIdentifier(node) ? node.parent : node
  const { line } = file.getLineAndCharacterOfPosition(node.getStart(file))
  return `${shown.getText(file).split('\n', 1)[0]?.slice(0, 60)} (line ${line + 1})`
}

/** Returns the target of `import … from`, `export … from`, `import()` or a type `import('…')`. */
function specifierOf(node: ts.Node): string | undefined {
  let specifier: ts.Node | undefined
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) specifier = node.moduleSpecifier
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) specifier = node.arguments[0]
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) specifier = node.argument.literal
  return specifier && ts.isStringLiteralLike(specifier) ? specifier.text : undefined
}

/** Returns the target of `new URL('./worker.js', import.meta.url)`. */
function threadOf(node: ts.Node): string | undefined {
  if (!ts.isNewExpression(node) || node.expression.getText() !== 'URL') return undefined
  const [name, base] = node.arguments ?? []
  const isBesideThisFile = base?.getText() === 'import.meta.url' && name && ts.isStringLiteralLike(name)
  return isBesideThisFile && /\.[jt]s$/.test(name.text) ? name.text : undefined
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** Excludes names of members and properties. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node
  return !ts.isPropertyAssignment(parent) || parent.initializer === node
}

function readsEnvironment(node: ts.Node): boolean {
  if (ts.isPropertyAccessExpression(node))
    return node.name.text === 'env' && /\bprocess$/.test(node.expression.getText())
  if (ts.isElementAccessExpression(node)) return /^process\[.env.\]$/.test(node.getText())
  if (ts.isImportSpecifier(node)) return isFromProcess(node) && (node.propertyName ?? node.name).text === 'env'
  if (ts.isBindingElement(node)) return isTakenFromProcess(node) && (node.propertyName ?? node.name).getText() === 'env'
  return false
}

function isFromProcess(node: ts.ImportSpecifier): boolean {
  const { moduleSpecifier } = node.parent.parent.parent as ts.ImportDeclaration
  return /^.(node:)?process.$/.test(moduleSpecifier.getText())
}

function isTakenFromProcess(node: ts.BindingElement): boolean {
  const declaration = node.parent.parent
  return ts.isVariableDeclaration(declaration) && declaration.initializer?.getText() === 'process'
}

/**
 * Finds `let` and `var` outside of functions, mutable statics, and constants whose contents the
 * file changes.
 */
function mutableStateOf(file: ts.SourceFile): string[] {
  const lists = file.statements.filter(ts.isVariableStatement).map(statement => statement.declarationList)
  const variables = lists.filter(list => !(list.flags & ts.NodeFlags.Const)).map(described)
  const statics = find(file, node => ts.isPropertyDeclaration(node) && isStaticVariable(node))
  const constants = lists.flatMap(list => list.declarations.map(declaration => declaration.name.getText()))
  const changes = find(file, node => {
    const changed = changedBy(node)
    return changed !== undefined && constants.includes(changed.text) && !isShadowed(changed)
  })
  return [...variables, ...statics, ...changes]
}

function isStaticVariable({ modifiers }: ts.PropertyDeclaration): boolean {
  const kinds = modifiers?.map(modifier => modifier.kind) ?? []
  return kinds.includes(ts.SyntaxKind.StaticKeyword) && !kinds.includes(ts.SyntaxKind.ReadonlyKeyword)
}

const CHANGERS = new Set(
  'add clear copyWithin delete fill pop push reverse set shift sort splice unshift append write'.split(' '),
)

/**
 * Returns the name whose contents a node changes: `SEEN` in `SEEN.set(1, 2)`, `SEEN[1] = 2`,
 * `SEEN.at++`, `delete SEEN.at`.
 */
function changedBy(node: ts.Node): ts.Identifier | undefined {
  if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression))
    return CHANGERS.has(node.expression.name.text) ? rootOf(node.expression.expression) : undefined
  if (ts.isDeleteExpression(node)) return rootOf(node.expression)
  if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node))
    return node.operator >= ts.SyntaxKind.PlusPlusToken && node.operator <= ts.SyntaxKind.MinusMinusToken
      ? rootOf(node.operand)
      : undefined
  if (!ts.isBinaryExpression(node)) return undefined
  const { kind } = node.operatorToken
  const isAssignment = kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment
  return isAssignment ? rootOf(node.left) : undefined
}

/** Returns `a` of `a.b[c].d`. */
function rootOf(node: ts.Node): ts.Identifier | undefined {
  let at = node
  while (ts.isPropertyAccessExpression(at) || ts.isElementAccessExpression(at) || ts.isNonNullExpression(at))
    at = at.expression
  return ts.isIdentifier(at) ? at : undefined
}

/** Tells if a function, block or loop between the name and its file declares the same name. */
function isShadowed(name: ts.Identifier): boolean {
  for (let scope = name.parent; scope && !ts.isSourceFile(scope); scope = scope.parent) {
    if (declaredIn(scope).some(declared => declared === name.text)) return true
  }
  return false
}

function declaredIn(scope: ts.Node): string[] {
  const parameters = ts.isFunctionLike(scope) ? scope.parameters : []
  return [...parameters, ...listsIn(scope).flatMap(list => list.declarations)].flatMap(({ name }) => namesOf(name))
}

function listsIn(scope: ts.Node): ts.VariableDeclarationList[] {
  if (ts.isBlock(scope))
    return scope.statements.filter(ts.isVariableStatement).map(({ declarationList }) => declarationList)
  const isLoop = ts.isForStatement(scope) || ts.isForOfStatement(scope) || ts.isForInStatement(scope)
  return isLoop && scope.initializer && ts.isVariableDeclarationList(scope.initializer) ? [scope.initializer] : []
}

function namesOf(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text]
  return name.elements.flatMap(element => (ts.isBindingElement(element) ? namesOf(element.name) : []))
}

function inheritanceOf(node: ts.Node): string[] {
  if (!ts.isClassLike(node)) return []
  const parents = node.heritageClauses?.filter(({ token }) => token === ts.SyntaxKind.ExtendsKeyword) ?? []
  return parents.map(clause => `${node.name?.text ?? 'a class'} ${clause.getText()}`)
}

const LEFT_OUT = new Set(['skip', 'todo', 'only'])

/** Matches a call of a member, or an option, of that name. */
function leavesTestsOut(node: ts.Node): boolean {
  if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression))
    return LEFT_OUT.has(node.expression.name.text)
  return ts.isPropertyAssignment(node) && LEFT_OUT.has(node.name.getText()) && isTestOption(node)
}

/** Matches an object among the arguments of a call on `t`, `test`, `it` or `describe`. */
function isTestOption({ parent }: ts.PropertyAssignment): boolean {
  const call = parent.parent
  return ts.isCallExpression(call) && /^(t|test|it|describe)\b/.test(call.expression.getText())
}
