import theme from 'vitepress/theme'
import PlaygroundCapture from './PlaygroundCapture.vue'
import PlaygroundNodes from './PlaygroundNodes.vue'
import PlaygroundTerms from './PlaygroundTerms.vue'
import './style.css'

export default {
	extends: theme,
	enhanceApp: ({ app }) => Object.entries({ PlaygroundCapture, PlaygroundNodes, PlaygroundTerms }).forEach(c => app.component(...c)),
}
