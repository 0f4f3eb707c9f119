{#- Fails for each value below `min_value` or above `max_value`; dbt_utils has the same test and arguments. -#}
{% test accepted_range(model, column_name, min_value=none, max_value=none, inclusive=true) %}

{%- set column = quoted_expression(column_name) %}

select {{ column }}
from {{ model }}
where false
    {% if min_value is not none %}or not {{ column }} >{{ "=" if inclusive }} {{ min_value }}{% endif %}
    {% if max_value is not none %}or not {{ column }} <{{ "=" if inclusive }} {{ max_value }}{% endif %}

{% endtest %}
