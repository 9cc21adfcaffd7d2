"""Classic classifiers (logistic regression, SVM, k-NN, MLP) on backbone features."""
