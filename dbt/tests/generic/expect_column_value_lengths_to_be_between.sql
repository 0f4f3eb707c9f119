{#- Fails for each text with fewer than `min_value` or more than `max_value` characters; dbt_expectations has the same
    test and arguments.
-#}
{% test expect_column_value_lengths_to_be_between(
    model, column_name, min_value=none, max_value=none, row_condition=none, strictly=false
) %}

{%- set column = quoted_expression(column_name) %}

select {{ column }}
from {{ model }}
where ({{ row_condition or 'true' }}) and (
    false
    {% if min_value is not none %}or not length({{ column }}) >{{ "=" if not strictly }} {{ min_value }}{% endif %}
    {% if max_value is not none %}or not length({{ column }}) <{{ "=" if not strictly }} {{ max_value }}{% endif %}
)

{% endtest %}
