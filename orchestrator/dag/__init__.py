"""What a DAG is: authored in Python or YAML, validated, drawn as a graph and compiled to stages."""
