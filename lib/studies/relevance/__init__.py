"""Relevance: which captions really describe the class of their image?

*Extending the ImageNet dataset for multimodal text and image learning*. Formula numbers in this
package are that paper's.
"""
